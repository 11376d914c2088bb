// The main function of every test program. Catch2 3 brings its own (Catch2WithMain), and this file
// is then empty.
#define CATCH_CONFIG_MAIN
#include "catch.hpp"
