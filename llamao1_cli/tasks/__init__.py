"""Problems, data sets and answer grading."""
