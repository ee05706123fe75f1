"""What editors and notebooks ask of a text: its words, its names, what each is, and what is wrong with it."""
