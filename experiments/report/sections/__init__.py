"""One module for each section of the page that needs more than a table: what its template shows, and its plots."""
