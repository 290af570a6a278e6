"""GraphQL and the plain endpoints over HTTP, streams included."""
