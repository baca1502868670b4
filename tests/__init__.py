"""The tests of facemtl. `support` holds what several of them use."""
