"""The pages for browsers, which are the board and the playground, and the files that they load."""
