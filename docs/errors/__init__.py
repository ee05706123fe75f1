"""The pages of `dlc explain`, one a code; a package so that an installed dlc has them."""
