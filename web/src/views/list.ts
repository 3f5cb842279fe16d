// The list of views: what stands in it can be chosen, by its name in the URL or by its title on the page.

import { LinesView } from "./lines.ts";
import { MapView } from "./map.ts";
import { headAcrossLayers, headsOfLayer, Multiples } from "./multiples.ts";
import { SCENES } from "./scenes.ts";
import type { ViewOf } from "./view.ts";

export const VIEWS: readonly ViewOf[] = [
  {
    name: "map",
    title: "map",
    switches: ["scale", "range", "pool", "rows"],
    hasColours: true,
    offered: () => true,
    make: (page) => new MapView(page),
  },
  {
    name: "heads",
    title: "layer",
    switches: ["scale", "range", "pool", "rows"],
    hasColours: true,
    offered: (model, state) => model.layers(state.kind, state.quantity).some(({ index, n_heads }) => index === state.layer && n_heads > 1),
    make: (page) => new Multiples(page, headsOfLayer, "The heads of one layer; the same place is marked in each. A click chooses a head, two open its map."),
  },
  {
    name: "across",
    title: "across layers",
    switches: ["scale", "range", "pool", "rows"],
    hasColours: true,
    offered: (model, state) => model.layers(state.kind, state.quantity).filter(({ n_heads }) => state.head < n_heads).length > 1,
    make: (page) => new Multiples(page, headAcrossLayers, "One head's number in every layer. Heads of the same number in different layers have nothing in common but their number."),
  },
  {
    name: "lines",
    title: "lines",
    switches: ["rows"],
    hasColours: false,
    offered: () => true,
    make: (page) => new LinesView(page),
  },
  ...SCENES,
];
