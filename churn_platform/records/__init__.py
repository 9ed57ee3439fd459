"""What outlives a process: home folder, artifacts, references, ids, schema versions, identity vault."""
