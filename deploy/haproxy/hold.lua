-- Holds new connections while there is nowhere to send them, for at most as many seconds as the line
-- `lua-load .../hold.lua 30` says, instead of failing them. PostgreSQL's clients see a slow connect: give them a
-- connect_timeout above that. haproxy.cfg says when it is asked, and for how many connections at once.
local seconds = tonumber((...)) or 30
local pause = 20 -- milliseconds

local function hold(ready)
    return function(txn)
        for _ = 1, seconds * 1000 / pause do
            if ready(txn) then
                return act.CONTINUE
            end
            if not txn.req:may_recv() then
                return act.ABORT -- the client has gone
            end
            core.msleep(pause)
        end
        return act.CONTINUE -- and fail as without
    end
end

local function primary(txn)
    return txn.f:nbsrv("primary") == 1
end

core.register_action("pgkeeper_hold_writes", { "tcp-req" }, hold(primary), 0)
core.register_action("pgkeeper_hold_reads", { "tcp-req" }, hold(function(txn)
    return txn.f:nbsrv("replicas") > 0 or primary(txn)
end), 0)
