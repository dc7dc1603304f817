"""What the studies are made of: targets, energies, generators and the discriminator; training and measures."""
