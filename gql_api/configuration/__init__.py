"""The settings of one concern each, which `settings.py` combines."""
