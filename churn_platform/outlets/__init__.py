"""What leaves the platform: the ranked list as a file and as a table, and signed messages to other programs.

Everything that leaves goes through one durable outbox (:mod:`churn_platform.outlets.outbox`): what there is to tell is
written down first, then told, again and again with growing pauses, until the other side has it or the attempts are used
up. A crash at any moment repeats a delivery at most; each one is idempotent.
"""
