"""The fire drill: a real leak, watched, judged, captured and told as a real one would be."""
