"""How is a compilation looked at?  Every level as text, JSON, DOT, or one offline HTML page."""
