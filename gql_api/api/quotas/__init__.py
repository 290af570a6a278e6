"""Quotas of principals and tenants: how much of the API each of them may use."""
