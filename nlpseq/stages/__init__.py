"""What each stage does, end to end; stages never import each other: they meet on disk."""
