"""Who calls, and what they may do: roles, principals, API keys."""
