"""Files that are whole or not there, checksums, and errors that a user can act on."""
