"""What is near what: tiles like a tile, slides like a slide, duplicates and outliers."""
