"""What all methods share. This package knows no method by name."""
