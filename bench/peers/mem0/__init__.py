"""mem0 (Apache-2.0), the library as published: `requirements.txt` pins it, `driver.py` runs inside its environment."""
