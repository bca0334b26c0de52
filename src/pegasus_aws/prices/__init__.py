"""What AWS takes for what: a dated book of prices, and how it is asked for newer ones."""
