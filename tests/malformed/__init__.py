"""Files that are wrong in one known way each, and the error each must give."""
