"""Operations parsed, planned, executed, encoded and masked. All reliance on graphql-core's internals is here."""
