"""Principals, what they may do, and which tasks they may see."""
