"""Who calls: access tokens of one trusted issuer are verified here and become a principal."""
