"""`make bench`: the speed and the memory of the service, as ratios against bare peers measured in the same run."""
