"""Protection from records that do not fit: the validator that keeps them out, and the writes that repair them."""
