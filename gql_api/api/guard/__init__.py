"""What a request must have before it reaches the API: a known host, and no foreign page behind it."""
