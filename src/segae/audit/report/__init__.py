"""The page that shows the worst masks of an audit."""
