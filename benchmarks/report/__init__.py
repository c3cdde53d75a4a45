"""What was found, for people: one document as Markdown and as a page, and charts in one style."""
