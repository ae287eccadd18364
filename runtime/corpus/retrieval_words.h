// The words that keys and entities are made of.
#pragma once

#include <array>
#include <string_view>

namespace laconic::retrieval {

inline constexpr std::array<std::string_view, 48> first_words = {
    "Amber",  "Ash",     "Autumn", "Birch",   "Bold",   "Brass",  "Bright", "Cedar", "Clear", "Copper",
    "Coral",  "Crystal", "Dawn",   "Deep",    "Dusty",  "Eagle",  "Early",  "East",  "Ember", "Fair",
    "Falcon", "Frost",   "Grand",  "Granite", "Hazel",  "Hidden", "Hollow", "Iron",  "Ivory", "Jade",
    "Lone",   "Maple",   "Marble", "Misty",   "Noble",  "North",  "Pearl",  "Quiet", "Raven", "Royal",
    "Silent", "Stone",   "Summer", "Swift",   "Velvet", "West",   "Wild",   "Winter"};

inline constexpr std::array<std::string_view, 48> second_words = {
    "Abbey",   "Arch",   "Bank",   "Bay",     "Bridge", "Brook", "Canyon",   "Castle", "Chapel", "Cliff",
    "Corner",  "Court",  "Creek",  "Dock",    "Field",  "Forge", "Fountain", "Gate",   "Grove",  "Hall",
    "Harbor",  "Haven",  "Island", "Landing", "Lane",   "Lodge", "Manor",    "Meadow", "Mill",   "Mount",
    "Oak",     "Palace", "Pass",   "Pier",    "Point",  "Ridge", "River",    "Road",   "Shore",  "Square",
    "Station", "Street", "Temple", "Tower",   "Valley", "View",  "Wharf",    "Yard"};

}  // namespace laconic::retrieval
