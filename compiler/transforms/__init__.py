"""What does a user ask of a graph before it is compiled?  Derivatives: transforms from graphs to graphs."""
