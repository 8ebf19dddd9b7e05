"""Networks for browsers and Node: the folder that is a package, and a page that shows one at work."""
