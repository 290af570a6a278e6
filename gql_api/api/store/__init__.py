"""The API's access to MongoDB."""
