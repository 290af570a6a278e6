"""A worker's access to MongoDB and Redis."""
