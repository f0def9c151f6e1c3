"""Write policies: how a model is asked what to keep. Each proposes; the checker decides."""
