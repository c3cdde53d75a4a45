"""What all commands share: their options, words, progress, results and how they end."""
