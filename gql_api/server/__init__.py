"""uvicorn as ``gql-api serve`` runs it. All reliance on the internals of uvicorn and websockets is here."""
