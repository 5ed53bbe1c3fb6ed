# Azure Database for PostgreSQL, flexible server: a primary and `replicas` read replicas by count. For pgrw in probe mode:
# postgres://web@<output hosts>/shop

terraform {
  required_providers {
    azurerm = {
      source  = "hashicorp/azurerm"
      version = "~> 4.0"
    }
  }
}

# The subscription is that of ARM_SUBSCRIPTION_ID.
provider "azurerm" {
  features {}
}

variable "replicas" {
  type    = number
  default = 3
}

variable "name" {
  description = "Of the primary: no other in Azure has it, since it is a name in DNS."
  type        = string
}

variable "resource_group" {
  type = string
}

variable "location" {
  type = string
}

variable "clients" {
  description = "First and last address that may connect."
  type        = tuple([string, string])
}

variable "password" {
  type      = string
  sensitive = true
}

resource "azurerm_postgresql_flexible_server" "primary" {
  name                   = var.name
  resource_group_name    = var.resource_group
  location               = var.location
  version                = "15"
  sku_name               = "GP_Standard_D2s_v3"
  storage_mb             = 65536
  administrator_login    = "web"
  administrator_password = var.password

  high_availability {
    mode = "ZoneRedundant"
  }
}

resource "azurerm_postgresql_flexible_server_database" "app" {
  name      = "shop"
  server_id = azurerm_postgresql_flexible_server.primary.id
}

resource "azurerm_postgresql_flexible_server" "replica" {
  count               = var.replicas
  name                = "${var.name}-replica-${count.index + 1}"
  resource_group_name = var.resource_group
  location            = var.location
  create_mode         = "Replica"
  source_server_id    = azurerm_postgresql_flexible_server.primary.id
}

resource "azurerm_postgresql_flexible_server_firewall_rule" "primary" {
  name             = "clients"
  server_id        = azurerm_postgresql_flexible_server.primary.id
  start_ip_address = var.clients[0]
  end_ip_address   = var.clients[1]
}

resource "azurerm_postgresql_flexible_server_firewall_rule" "replica" {
  count            = var.replicas
  name             = "clients"
  server_id        = azurerm_postgresql_flexible_server.replica[count.index].id
  start_ip_address = var.clients[0]
  end_ip_address   = var.clients[1]
}

output "hosts" {
  value = join(",", concat([azurerm_postgresql_flexible_server.primary.fqdn], azurerm_postgresql_flexible_server.replica[*].fqdn))
}
