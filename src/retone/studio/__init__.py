"""A local web page to match, compare and edit settings; ``retone studio`` serves it."""
