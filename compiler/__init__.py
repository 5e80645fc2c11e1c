"""What a model means and how it becomes machine code. Opens no file, starts no thread of its own, reads no environment."""
