"""What an auditor asks for, answered from the records."""
