"""Whether two answers are equal: pure rules about text, numbers, units, words, times and lists."""
