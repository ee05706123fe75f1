"""What runs did and where their time goes, as pages and tables."""
