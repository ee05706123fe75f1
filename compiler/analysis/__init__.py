"""What a graph says of itself: how the rows of a batch take part in a value, and how figures add up over batches."""
