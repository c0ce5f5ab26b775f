"""Ready procedures by area of science. Each module names the extra that it needs; importing it needs none."""
