"""Results of phones as tables, pages and plots."""
