"""A local page to hear, see and change what retone does; ``retone studio`` serves it."""
