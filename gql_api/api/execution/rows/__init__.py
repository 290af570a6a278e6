"""Objects of answers, row by row: where the values of fields are, and the code that is generated to complete them."""
