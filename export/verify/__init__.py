"""Does a file still do the job? Tokens, template, logits, greedy answers, and the memory skill; a gate over them."""
