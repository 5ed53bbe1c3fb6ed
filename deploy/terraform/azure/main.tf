# Azure Database for PostgreSQL, flexible server: a primary and `replicas` read replicas by count. For pgrw in probe mode:
# postgres://<output hosts>/app

variable "replicas" {
  type    = number
  default = 2
}

variable "resource_group" {
  type = string
}

variable "location" {
  type = string
}

variable "password" {
  type      = string
  sensitive = true
}

resource "azurerm_postgresql_flexible_server" "primary" {
  name                   = "demo"
  resource_group_name    = var.resource_group
  location               = var.location
  version                = "15"
  sku_name               = "GP_Standard_D2s_v3"
  storage_mb             = 65536
  administrator_login    = "app"
  administrator_password = var.password

  high_availability {
    mode = "ZoneRedundant"
  }
}

resource "azurerm_postgresql_flexible_server" "replica" {
  count               = var.replicas
  name                = "demo-replica-${count.index + 1}"
  resource_group_name = var.resource_group
  location            = var.location
  create_mode         = "Replica"
  source_server_id    = azurerm_postgresql_flexible_server.primary.id
}

output "hosts" {
  value = join(",", concat([azurerm_postgresql_flexible_server.primary.fqdn], azurerm_postgresql_flexible_server.replica[*].fqdn))
}
